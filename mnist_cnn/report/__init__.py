"""Plots and an HTML page for a trained run. Needs the extra `report`."""
