"""What the function does: read the event, fetch the rows, send them, judge the answers."""
