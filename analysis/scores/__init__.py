"""Tables of fills that were rated by a protocol."""
