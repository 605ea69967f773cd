mod attempts;
mod basics;
mod disconnect;
mod hostile;
mod keys;
mod rejections;
mod timeouts;
