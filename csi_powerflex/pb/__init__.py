"""Generated from proto/csi.proto by ``make proto``; not edited by hand."""
