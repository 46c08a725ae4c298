"""The config `kermany_covid_full`: where its gigabyte lies, which films are in it, and the Beam pipeline over them."""
