//! Nothing: the manifest beside this file is read.
