"""Decodes lines with a trained run: a file, a pipe, or a prompt."""

from seq2seq.cli import infer

if __name__ == "__main__":
    infer()
