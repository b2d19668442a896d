//! The native client of the control socket.
