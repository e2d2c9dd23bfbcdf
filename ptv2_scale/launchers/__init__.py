"""Starting ranks and staying with them: processes, signals, files; nothing of torch."""
