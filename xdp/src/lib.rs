//! The XDP Maglev dataplane: rings, map layout, loader, neighbour tracking, statistics and a host model.
