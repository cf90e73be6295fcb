//! Observe, desire, apply: one screen per kind.
