"""The legacy networks in torch, one module each, over shared layers."""
