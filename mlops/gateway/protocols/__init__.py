"""AWS's wire protocols, server side."""
