"""One outside system per file, imported when first used."""
