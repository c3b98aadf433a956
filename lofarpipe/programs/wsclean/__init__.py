"""WSClean: build, arguments, checks, products, beams."""
