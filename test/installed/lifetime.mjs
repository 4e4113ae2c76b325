/** With an open client the program ends by itself after unref(), but not before the call in flight is answered. */
import { connect } from '@keyagent/client';

const client = (await connect()).unref();
const key = await client.key(process.env.KEY_URI);
void key.sign('ecdsa-sha256', Buffer.from('message')).then((signature) => {
  if (signature.length > 0) console.log('good');
});
