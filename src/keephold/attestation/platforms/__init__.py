"""Where quotes and sealing keys come from: one module per platform. Programs are handed one; none is looked up."""
