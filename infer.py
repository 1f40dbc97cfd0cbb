"""Decodes lines from a file, a pipe or a prompt with a trained run."""

from seq2seq.cli import infer

if __name__ == "__main__":
    infer()
