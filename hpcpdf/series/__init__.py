"""Files of one folder as a series: temperature, time or position, each solved from its neighbour, and the trends."""
