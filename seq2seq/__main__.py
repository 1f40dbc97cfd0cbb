"""`python -m seq2seq COMMAND ...`, the same as the console command `seq2seq COMMAND ...`."""

from seq2seq.cli import main

if __name__ == "__main__":
    main()
