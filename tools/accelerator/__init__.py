"""Use a short loan of an accelerator fully: pack here, run there, accept here. See README.md."""
