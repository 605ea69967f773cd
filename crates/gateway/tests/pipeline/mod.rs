mod attempts;
mod basics;
mod disconnect;
mod hostile;
mod http2;
mod keys;
mod rejections;
mod timeouts;
