mod gate;
mod json;
mod response;
mod smoke;
