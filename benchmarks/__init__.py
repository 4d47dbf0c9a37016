"""Peers and Menura do the same work in one run: ratios, not seconds, as seconds differ from machine to machine."""
