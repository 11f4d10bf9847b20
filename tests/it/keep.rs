//! The store's own care, from outside: what follows from the facts, what is found, what is saved.

mod damage;
mod live;
mod restore;
mod start;
mod story;
mod tables;
