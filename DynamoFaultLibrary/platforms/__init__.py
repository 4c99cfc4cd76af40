"""Where graphs run. `base` is the port that keywords see; each platform is a package of its own."""
