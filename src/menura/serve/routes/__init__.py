"""Requests under ``/api`` become what the page and other programs ask for, each for whoever asks alone."""
