"""Trains an encoder-decoder; alone it trains the toy, and `--help` shows every setting."""

from seq2seq.cli import train

if __name__ == "__main__":
    train()
