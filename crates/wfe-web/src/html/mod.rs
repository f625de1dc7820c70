//! What pages are made of. Each part is a function that returns markup; everything that is not markup is escaped.

mod bits;
mod form;
mod frame;
mod list;
mod refusal;
mod state;
mod time;

pub(crate) use crate::picture::{icon, spaced as num};

pub(crate) use self::{
    bits::{button, cut, id, json, middle, size, text},
    form::Sure,
    frame::{Frame, Page},
    list::{Pager, empty, section, table},
    refusal::{plain, sign_in},
    state::{class, state, symbol, word},
    time::{ago, moment, since, span},
};
