"""The systems file: which PowerFlex systems the controller serves, and how it reaches them."""
