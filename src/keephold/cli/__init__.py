"""The command line. Commands are imported when they run, so that help is quick."""
