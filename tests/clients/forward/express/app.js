// An app with sessions in cookies, redirects to https, and the route from the documents. Prints the port that it listens on.
import express from 'express';
import session from 'express-session';

import { tidings } from './tidings.js';

const app = express();
app.set('trust proxy', 'loopback');
app.use((req, res, next) => (req.secure ? next() : res.redirect(308, `https://${req.hostname}${req.url}`)));
app.use(session({ secret: 'of a test', resave: false, saveUninitialized: false, cookie: { secure: true } }));
app.get('/login/:user', (req, res) => {
  req.session.userId = req.params.user;
  res.sendStatus(204);
});
app.use(tidings);
const server = app.listen(0, '127.0.0.1', () => console.log(`port ${server.address().port}`));
