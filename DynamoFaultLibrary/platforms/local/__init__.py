"""Platform `local`: real Dynamo processes on this machine."""
