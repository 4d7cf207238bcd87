"""How the network runs fast and in little memory."""
