# The provider reads the token from the environment variable FLAME_TOKEN, and checks it.
import {
  to = flame_session.reports
  id = "env:FLAME_TOKEN"
}
