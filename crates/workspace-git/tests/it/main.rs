//! Worktrees, salvage and merging on real repositories with the real git.

mod dying;
mod fixture;
mod hostile;
mod keeping;
mod merging;
mod preparing;
mod racing;
mod shapes;
