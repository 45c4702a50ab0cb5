//! The vocabulary of Reveille: ids, events, kinds, cursors, gaps and patterns.
