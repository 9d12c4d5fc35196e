"""The way out: questions over HTTP -> answers from the stores."""
