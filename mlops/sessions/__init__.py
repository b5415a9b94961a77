"""SDK adapters: sessions whose clients point at the gateway."""
