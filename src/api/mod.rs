//! The functions SQL calls: read arguments, check rights, call, map errors. Their CREATE FUNCTION
//! statements are in `sql/install/30_functions.sql`, hence `sql = false` throughout.

mod jobs;
mod preview;
mod running;
mod triggers;
