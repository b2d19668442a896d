//! One probe over one fresh socket.

use std::time::Duration;

/// What one probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the backend passed.
    pub ok: bool,
    /// One short line that says what was seen, such as `200 OK` or `connection refused`.
    pub diagnostic: String,
    /// From the start of the connect to the answer.
    pub took: Duration,
}
