"""Structures on the sites of a family, scored and searched by their shell counts."""
