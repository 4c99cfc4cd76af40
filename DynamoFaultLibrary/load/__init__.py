"""Requests and loads: sent from processes of their own, recorded one JSON line each."""
