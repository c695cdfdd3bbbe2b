"""What is measured: this suite and two peers, each started, filled and asked by its own public means."""
