"""What both sides of a simulation stand on.

Here live time and units, the random numbers, the host directory, the network graph and its paths, the window
protocol with its event batches and buses, the run directory, the metrics and the digests.

Anybody may import this room; it imports no other room. It knows neither what a managed process is nor what a
surrogate is: a participant is three verbs, an event is seven columns, and nothing else crosses.
"""
