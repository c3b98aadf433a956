"""Python 2 plugins and scripts, translated when they are loaded."""
