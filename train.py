"""Trains an encoder-decoder. Without arguments it trains the toy; `--help` lists all settings."""

from seq2seq.cli import train

if __name__ == "__main__":
    train()
