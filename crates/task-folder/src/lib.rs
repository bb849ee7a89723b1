//! task-folder
