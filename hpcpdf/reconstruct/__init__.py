"""From PDFs to ranked, refined structures."""
