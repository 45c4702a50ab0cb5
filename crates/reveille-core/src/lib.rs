//! Signals, the wait list, cancel tokens and clocks: what every form of waiting rests on.
