"""Editors of given faces: trained, tried on held-out pictures, measured. No part of a run of everything."""
