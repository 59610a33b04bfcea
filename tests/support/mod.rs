//! Plain scalar code that the kernels are held against: values, derivatives, counts.
//!
//! Each test file takes the part that it needs.

#![allow(dead_code)]

pub mod allocations;
pub mod breast_cancer;
pub mod browser;
pub mod cases;
pub mod differences;
pub mod drawn;
pub mod estimators;
pub mod exact;
pub mod kernels;
pub mod number;
pub mod pages;
pub mod problems;
pub mod program;
pub mod rows;
pub mod tolerance;
pub mod watchdog;
